"""Blur as a sensor records it, for training pictures: synthesis from sharp photos.

Floor 2. Knows colour, and nothing of files or training.

    exposure  one exposure, or a clip of them: a photo in, blurred and sharp pictures out
    settings  what it draws from, and the named distributions
    motion    how camera and objects move, and at which moments that is looked at
    scene     a background and the objects in front of it, as a sensor sees them
    optics    the phase-coded aperture, as point-spread functions of the colours
    sensor    sum of light, optics, highlights, noise, response curve, JPEG
"""
