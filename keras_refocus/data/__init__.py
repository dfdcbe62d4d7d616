"""From files to training batches.

Floor 3.

    sampling        photos and pairs to training examples
    exposures       exposures of photos and of high-speed clips, with their sharp frames
    kept_exposures  what a motion network sees of exposures, made once
    triplets        frames in between, out of patches of clips
    workers         training examples to batches
    prepared        examples of a data set that `tfds build` prepared, to batches
    integrity       damaged files, broken pairs and copies
    curation        inspections of folders, manifests, cleaned copies
    blur_sheet      a sheet of synthetic blur to look at
"""
