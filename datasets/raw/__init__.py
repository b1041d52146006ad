"""Raw files as people have them: folders and archives, images of any format, lists beside them."""
