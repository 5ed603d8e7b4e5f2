"""Training methods behind one small interface; `isnet_models.methods.registry` has their names."""
