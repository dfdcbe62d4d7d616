"""The web page.

Floor 4.

    layout     how it looks, and what hangs on what
    views      values of its parts: list, comparison, downloads, status
    words      what it says, in the languages it speaks
    actions    what its buttons do
    clips      what the buttons of its Video tab do
    moments    what happened during an exposure: a small player
    settings   how it behaves
    errors     what goes wrong, in words for visitors
    jobs       who works when: places, the line before them, a job a visitor
    decoding   photos read in a process of their own, which can be ended
    reading    photos read once: ahead where a part is marked
    uploads    names of files that come in, and whether they can be taken
    server     its routes, headers and launch
    sessions   what is kept of a visitor's pictures, and for how long
    shakes     what is said of heavy shake
    finishing  previews and downloads, without running the networks again
    closeups   a place of a large photo in full
    static/    scripts, styles, examples
"""
