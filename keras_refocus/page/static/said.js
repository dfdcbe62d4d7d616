// A part without any doings of its own.
refocus.translate(element);
