"""Objects that people drew in annotation tools, one file per format.

Each format yields `pictures.Picture`s: an image and its objects as COCO annotations, with the class's name in place of
the category's id. `pictures` does the rest, so all formats treat boxes, masks and classes alike.
"""
