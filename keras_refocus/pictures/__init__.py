"""Photographs: reading and writing them, their colours, whether they are grey, the faces in them.

Floor 1; of its floor it may use `system`. Only `color` knows of 100, 110 and 255.

    images      read and write photos: the names that others use
    photo       a picture in memory; the names of the formats
    reading     tell the format, decode, put colours, orientation and metadata right
    decoded     what every decoder gives
    decoders    JPEG, WebP, BMP, GIF, HEIC, AVIF, JPEG 2000 and JPEG XL
    png         PNG
    tiff        TIFF
    codestreams sizes that coded streams promise, before decoding
    jpeg_xl     what the header of JPEG XL says of its colours
    code_points colours named by number or by gamma and primaries
    srgb        profiles and CMYK to sRGB
    metadata    what is kept of EXIF
    writing     encode and write a file whole
    color       sRGB, linear light and CIELAB; gamut
    grayscale   the grey gate: grey, or grey in one tint, or coloured
    paper       the light paper around a print
    aging       photos made to look like old prints
    color_bins  chroma as 313 colours, and how rare each is
    catalogue   the pictures and pairs below a folder, and which half of a set they are
    staging     files that have their content only while they are read
    cleaning    what makes a picture unfit; fit ones brought to one size, depth and format
    faces       find faces and make them unrecognisable
    provenance  say in a picture that its colours are a guess
"""
