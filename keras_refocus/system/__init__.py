"""What the package asks of the machine: the console, files, its memory, how fast it is.

Floor 1. Knows nothing of pictures or networks.

    console    quiet TensorFlow, progress bars
    options    options that several commands share
    files      files written whole or not at all, SHA-256
    memory     whether freed memory stays with the process
    run_files  names of the files in the folder of a training run
    machine    what a measurement says about where it was made
    extras     packages that only parts of the project need
"""
