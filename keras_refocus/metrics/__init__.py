"""How near a picture is to its truth.

Floor 2.

    fidelity    PSNR, SSIM and colour metrics
    perceptual  LPIPS and FID, where their weights are
    alignment   a picture moved into line with its truth before it is compared
"""
