"""People drawn by code, who stand in for data sets that nobody may hand on.

In: the settings of a world (how many people, cameras and frames; clutter, occlusion, shifts). Out:
a folder of pictures in the layout of a real data set. This room knows how people look and nothing
of networks. May use the ground, to write what it draws.
Files: pedestrian -> scenery -> world.
"""
