"""Heavy shake: the kernel of the blur, found or given, and its inversion.

Floor 2, a part of `restoration`. Blur acts on linear light: all planes here are light, but for
those that go to and come from the restorer.

    patient     a picture, its plain result and the restorer in, the better picture out
    blind       the kernel, from the photo alone
    known       the sharp picture, given the kernel
    colors      its chroma, given the kernel
    acceptance  where the result is taken, and where the plain one stands
    finding     what is said of it
    kernels     kernels made, cleaned, measured and drawn
    fourier     blur and differences as products of spectra
"""
