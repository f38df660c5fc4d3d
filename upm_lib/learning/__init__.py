"""The method: backbone and heads, the two objectives, and the training step.

In: a config and batches of frames with tracklet numbers. Out: a trained network, checkpoint by
checkpoint. Eqs. (1) and (2) are in ``model``, Eqs. (3) to (9) in ``association``, another objective
in ``clusters``, section 4.1 in ``training``. No name of a person gets here. May use the ground and
``data``.
Files: _memory, _torchvision, mobilenet -> model -> frozen -> association -> clusters -> training.
"""
