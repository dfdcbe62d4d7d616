"""From a picture to the restored picture, whatever engine the networks run on.

Floor 2.

    pipeline  Restorer: a picture in, the restored picture out
    tiling    overlapping tiles out, blended back in
    regions   one rectangle of a picture: cut out, and put back with soft edges
    flips     the mean over the mirror images of a tile
    chroma    chroma from the colorizer's size to full size, guided by luminance
"""
