"""How each system is trained, evaluated and pictured: one file a system, one loop for all."""
