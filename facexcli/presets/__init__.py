"""The presets that come with facex: TOML files of settings, read by `facexcli.config`; `train-*.toml` are recipes of
trainings, read by `facexcli.train.recipe`."""
