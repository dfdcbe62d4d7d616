"""From a picture to the restored picture, whatever engine the networks run on.

Floor 2.

    pipeline  Restorer: a picture in, the restored picture out
    inputs    what can be restored: files, pictures of Pillow, arrays
    tiling    overlapping tiles out, blended back in
    regions   one rectangle of a picture: cut out, and put back with soft edges
    flips     the mean over the mirror images of a tile
    jobs      which files are restored, and to where
    batch     files one after the other
    reports   the report of a batch, written as it goes
    deconvolution/  heavy shake: the kernel of the blur, and its inversion
    means     patterns of single pixels keep their mean lightness
    chroma    chroma from the colorizer's size to full size, guided by luminance
    seen      what the colorizer is shown: without paper, with the contrast of a photo
    fade      fading taken off: levels of each channel in linear light
    reference  colours of another photo, by optimal transport
    suggestions  the likeliest colours at a place
    hints     colours that a person gives, and how they spread
"""
