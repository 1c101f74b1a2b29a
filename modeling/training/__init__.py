"""Training: the four stages of the paper, and a LoRA of a character, by one loop.

windows.py           what is trained on: a few shots together; the protocol of their sources; batches of them
story_windows.py  window_index.py  window_settings.py  buckets.py    windows of a dataset, and their sizes
toon_windows.py      windows that are drawn in code
cached_windows.py  cache_filling.py  cache_settings.py    latents, text states, vision features in place of pixels
feature_store.py  feature_shard.py  content_marks.py      how those are kept on disk, and under which keys
feature_encoders.py  vision_features.py                   what frozen encoders give
shot_model.py  batches.py  packed_reading.py  losses.py  condition_dropout.py  parameters.py    one step
settings.py  data_settings.py  setting_checks.py          what a training is made with, and each stage's defaults
trainer.py  processes.py  open_training.py  batch_order.py  draws.py  optimizers.py  text_scale.py    the loop
run_folder.py  train_state.py  train_log.py  validation.py  saving.py    what is written on the way and at the end
dry_run.py  meta_pipeline.py                              what a training would be, without weights or data
"""
