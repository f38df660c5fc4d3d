"""Files on disk become tracklets, trials, packed frames and batches without names.

In: a config that names a data set and its folder. Out: a ``Dataset`` of tracklets, the trials that
halve its people, ``Frames`` in one memory-mapped array, and ``TrainBatch``, which has no person in
it. Each layout on disk has one file in ``readers``. May use the ground and ``synthetic``.
Files: tracklets -> readers -> catalogue -> splits, packing -> batches.
"""
