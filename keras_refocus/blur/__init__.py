"""How pictures get blurred: what a sensor integrates while camera and objects move.

Floor 2.

    exposure  blur synthesis, its settings and paths
"""
