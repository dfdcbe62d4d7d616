"""Photographs: reading and writing them, their colours, whether they are grey, the faces in them.

Floor 1; of its floor it may use `system`. Only `color` knows of 100, 110 and 255.

    images      read and write photos: orientation, profiles, depth, alpha, metadata
    color       sRGB, linear light and CIELAB; gamut; colourfulness
    grayscale   the grey gate: grey, or grey in one tint, or coloured
    color_bins  chroma as 313 colours, and how rare each is
    faces       find faces and make them unrecognisable
    provenance  say in a picture that its colours are a guess
"""
