"""What trained networks are for: fused vectors, ranked lists, their quality, activation maps.

In: networks and frames. Out: one vector for each tracklet (section 3.5), the ranks of the true
matches (section 4.1), maps of what a network responds to (section 4.6). May use the ground,
``data`` and ``learning``.
Files: features -> evaluation, activation, offsets.
"""
