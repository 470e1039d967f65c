"""Phantom slides: H&E pictures drawn by the package, with nuclei and stains known exactly.

``sheet`` lists them, ``render`` draws one in memory, ``draw`` writes it as a slide.
"""
