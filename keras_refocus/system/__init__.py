"""What the package asks of the machine: the console, its memory, how fast it is.

Floor 1. Knows nothing of pictures or networks.

    console   quiet TensorFlow, progress bars
    machine   what a measurement says about where it was made
"""
