"""Clips restored: sharper, steady from frame to frame, with all else in the file untouched.

Floor 3.

    segments       a whole clip: cut up, restored by several workers, resumed, put together
    clip           frames of a clip in, frames of the result out
    playable       a clip as browsers play it, to look at
    live           a stream restored at the rate that the machine gives
    containers     what is in a file, its frames from any place on, a new file with nothing lost
    encoders       which encoder writes which frames, and with what settings
    frames         the planes of a frame as arrays
    cuts           where one shot ends and the next begins
    optical_flow   optical flow, warping along it, where it can be trusted
    steadiness     frames fused with their neighbours
    interpolation  frames between frames
    unblur         a clip out of one blurred picture, and files that play it
    from_blur      what happened during the exposure of one blurred picture
    colors         colour for grey footage that stays the same from frame to frame
    stills         sharp frames of clips as photos, to train on
    triplets       three frames of a scene as patches, to train on
    faces          faces found, and blurred in all planes
"""
