"""Figures of models, of the grey decision and of face blur, on pictures with a truth.

Floor 4; never meets `training`.

    models     models to measure, opened from wherever one is kept
    sets       sets of pictures with their SHA-256, and their blur
    restorer   a restorer on pairs and photos
    colorizer  a colorizer on colour photos
    shake      heavy shake: the patient restoration beside the plain one, and the true kernel
    motion     frames of an exposure out of one blurred picture
    classical  unsharp mask and deconvolution, to compare with
    grayscale  how often grey is taken for colour, and colour for grey
    faces      how many faces are not found, on photos of people
"""
