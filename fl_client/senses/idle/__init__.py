"""How long nobody has touched this machine, and who sits in front of it: one backend a file.

`chooser.choose` puts together those of this system and says in which order they are believed.
"""
