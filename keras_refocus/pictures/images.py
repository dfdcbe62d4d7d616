"""Read photos from files and write them back.

`read` gives a `Photo`: sRGB in the file's own depth, upright, with alpha and metadata apart,
whatever the file was: JPEG, PNG, TIFF, WebP, BMP, GIF, AVIF, JPEG 2000, JPEG XL, or HEIC
where pillow-heif is installed. `write`
puts one into a file of the same depth, and either the whole file appears or nothing does; `encode`
gives the content of that file.

What is converted on reading, and how exactly:

* An embedded ICC profile is converted to sRGB by LittleCMS, relative colorimetric with black point
  compensation. 16-bit pictures stay in 16 bits all the way (unoptimised float pipeline: about 0.5 s
  per megapixel). Colours outside sRGB are clipped to it. A profile that is sRGB to within half a
  level of 255 changes nothing.
* Without a profile count the code points of PNG (cICP, also of narrow range), HEIC, AVIF (nclx),
  JPEG 2000 and JPEG XL, gamma and primaries of PNG, BMP and JPEG XL, and Adobe RGB by EXIF. Of high
  dynamic range (PQ, HLG) what is brighter than its reference
  white is clipped, with a notice. What is not known is named in a notice and not applied.
* The profile of a JPEG XL file is applied where it was made of a JPEG; elsewhere a notice says that
  it was not.
* CMYK without a profile is converted by (1 - ink)(1 - black), with a notice: its colours are only
  roughly right.
* The EXIF orientation is applied.
* Of several pages or frames the first is read, with a notice.

Who does the work: Pillow reads and writes 8 bits; tifffile with imagecodecs reads and writes TIFF;
imagecodecs reads PNG and writes it in 16 bits, because Pillow keeps only the upper 8 bits of 16-bit
colour. Large pictures are converted a band of rows at a time: reading holds the decoder's copy and
ours, no more.
"""

from keras_refocus.pictures.photo import FORMAT_OF_SUFFIX, FORMATS, READ_ONLY, SUFFIXES, Photo
from keras_refocus.pictures.reading import from_image, look, read
from keras_refocus.pictures.writing import encode, write

__all__ = [
    "FORMATS",
    "FORMAT_OF_SUFFIX",
    "READ_ONLY",
    "SUFFIXES",
    "Photo",
    "encode",
    "from_image",
    "look",
    "read",
    "write",
]
