"""Decode TIFF: tifffile with imagecodecs, and Pillow for what has fewer than 8 bits."""

import os

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

from keras_refocus.pictures import decoders
from keras_refocus.pictures.decoded import FIRST_ONLY, READABLE, Refused, from_array


def read_tiff(file, check_size):
    import tifffile

    photometrics = tifffile.PHOTOMETRIC
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        check_size(page.imagewidth, page.imagelength)
        has_more = len(tiff.pages) > 1
        if 50706 in page.tags or page.photometric in (photometrics.CFA, photometrics.LINEAR_RAW):
            raise Refused(
                f"The file must be a {READABLE} picture. Received: a camera raw file. Develop it "
                "and save it as TIFF or PNG first."
            )
        if page.is_reduced:
            raise Refused(
                "The first page of a TIFF file must be the picture. Received: a first page that "
                "is only a preview, as in camera raw files. Save it as an ordinary TIFF first."
            )
        is_odd = page.photometric == photometrics.PALETTE or page.bitspersample in (1, 2, 4)
        if is_odd and page.samplesperpixel == 1:
            picture = _from_odd_tiff(file, check_size)
        elif (
            page.bitspersample not in (8, 16)
            or page.sampleformat != tifffile.SAMPLEFORMAT.UINT
            or page.imagedepth != 1
        ):
            raise Refused(
                "A TIFF file must hold unsigned integers of 8 or 16 bits a channel. Received: "
                f"{page.bitspersample} bits of {page.sampleformat!r}, {page.imagedepth} deep. "
                "Convert it first."
            )
        else:
            picture = _from_tiff_page(file, page)
        if has_more:
            picture.notices.append(FIRST_ONLY)
        try:
            # The directory of a TIFF file is laid out as EXIF is.
            file.seek(0)
            picture.exif.load_from_fp(file)
            for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
                picture.exif.get_ifd(directory)
        except Exception as error:  # Damaged metadata must not cost the picture.
            picture.exif = Image.Exif()
            picture.notices.append(f"The metadata is damaged and was left out ({error}).")
        return picture


def _from_odd_tiff(file, check_size):
    """Black and white, palettes and the like: Pillow knows them, through libtiff."""
    file.seek(0)
    image = TiffImagePlugin.TiffImageFile(file)
    picture = decoders.from_pillow(image, check_size)
    picture.orientation = 1  # Pillow has applied it.
    return picture


def _from_tiff_page(file, page):
    import tifffile

    photometrics = tifffile.PHOTOMETRIC
    size = file.seek(0, os.SEEK_END)
    ends = [a + b for a, b in zip(page.dataoffsets, page.databytecounts, strict=False)]
    if not ends or max(ends) > size:
        raise EOFError(f"the pixels end at byte {max(ends, default=0)}, the file at {size}")
    array = page.asarray()
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
        array = np.moveaxis(array, 0, -1)
    array = array.reshape(page.imagelength, page.imagewidth, -1)
    space, channels = {
        photometrics.MINISWHITE: ("gray", 1),
        photometrics.MINISBLACK: ("gray", 1),
        photometrics.RGB: ("rgb", 3),
        photometrics.YCBCR: ("rgb", 3),
        photometrics.SEPARATED: ("cmyk", 4),
    }.get(page.photometric, (None, 0))
    if space is None or array.shape[2] < channels:
        raise Refused(
            "A TIFF file must be grey, RGB or CMYK. Received: "
            f"{page.photometric.name} with {array.shape[2]} channels. Convert it first."
        )
    if page.photometric == photometrics.MINISWHITE:
        array[..., :1] = np.iinfo(array.dtype).max - array[..., :1]
    # A further channel is alpha if the file says so, or says nothing at all.
    extra = page.extrasamples[:1]
    kinds = tifffile.EXTRASAMPLE
    has_alpha = array.shape[2] > channels and (
        not extra or extra[0] in (kinds.ASSOCALPHA, kinds.UNASSALPHA)
    )
    picture = from_array(array[..., : channels + has_alpha], space, has_alpha=has_alpha)
    picture.is_premultiplied = has_alpha and bool(extra) and extra[0] == kinds.ASSOCALPHA
    picture.icc = page.iccprofile
    return picture
