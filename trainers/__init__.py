"""How each system is trained, evaluated and pictured: one folder a system, one loop for all."""
