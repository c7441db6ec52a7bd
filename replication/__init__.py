"""A replication of Han et al. 2015, Learning both Weights and Connections for Efficient Neural Networks.

The module is a house of rooms, each a package that imports only rooms before it: networks, data, storage, training,
pruning, runs, claims, report, imagenet, commands. Below them all lies the ground, which imports nothing of ours: where
things lie (`paths`), the one exception (`errors`), checks of settings and parameters (`specs`, `parameters`), bars
(`progress`), names that are imported late (`lazy`). What a room is for, and its public names, stand in its `__init__`.
"""
