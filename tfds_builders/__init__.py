"""TensorFlow Datasets builders: one folder, one data set (`tfds build tfds_builders/<name>`).

hide            HIDE: blurred and sharp street scenes with people
deblur_pairs    GoPro, REDS, RealBlur, DVD, or any folder of pairs
coco_lab        COCO 2017 as luminance and chroma

sources         files of a manual folder, loose or inside zips, and layouts among them
splits          what is held out: whole scenes, by a stable hash
pairs           what the builders of pairs share
lab_feature     the feature that keeps Lab as an 8-bit PNG
lab_squares     pictures of any size to squares of luminance and chroma
downloads       pictures one by one from a list of addresses
shuffling       how much is held in memory while a set is built
reports         the report next to the data
benchmark       rate and memory of a build, on a generated set
"""
