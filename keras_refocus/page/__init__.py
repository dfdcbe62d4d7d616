"""The web page.

Floor 3.

    layout     how it looks, and what hangs on what
    actions    what its buttons do
    server     its routes, headers and launch
    sessions   what is kept of a visitor's pictures, and for how long
    finishing  previews and downloads, without running the networks again
    static/    scripts, styles, examples
"""
