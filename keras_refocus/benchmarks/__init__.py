"""What `refocus benchmark <subject>` measures: one subject a module.

Floor 5.

    restore   a photo from array to array: seconds, megapixels per second, memory
    networks  the generators: parameters, time, memory
    quality   restorers and classical methods: dB gained, beside seconds and MB
    input     training batches per second
    serving   requests over gRPC: throughput and latency
    cloud     jobs over stores beside files, batches, the start of a function
    page      what a visitor of the web page waits for
    video     clips: dB and steadiness beside per-frame restoration, frames in between
    motion    frames out of one blurred picture, through a plain lens and a coded aperture
    live      frames a second of a stream, with jobs; memory by length
"""
