"""Text-to-image pipelines of diffusers as denoisers: Stable Diffusion, SDXL, PixArt, and few-step models in their form.

`facts` says what a folder is without torch, `pipeline` reads it. Configurations are read as JSON and weights as
safetensors, here: diffusers and transformers only make the modules. Nothing is looked up on a hub, and no file opened
that could run code.
"""
