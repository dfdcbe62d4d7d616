"""Published weights: how files are read, and one map a family from their names to our networks.

Weights are not part of this project: users bring the files of the authors. Nothing here was copied
from the authors' code; names and shapes are those of the tensors in their files.

    weight_files  files of weights as arrays, without PyTorch and without running code
    family        what is known of a family, and the tools of its map
    registry      the families; from files to a network
    cards         model cards of published weights
    nafnet        NAFNet (Chen et al. 2022)
    dmphn         DMPHN (Zhang et al. 2019)
    srn           SRN (Tao et al. 2018)
    deepdeblur    DeepDeblur (Nah et al. 2017)
    dncnn         DnCNN (Zhang et al. 2017)
    drunet        DRUNet (Zhang et al. 2021)
    hinet         HINet (Chen et al. 2021)
    siggraph17    colorizer of Zhang et al. 2017
    eccv16        colorizer of Zhang et al. 2016
    ddcolor       colorizer of Kang et al. 2023
"""
