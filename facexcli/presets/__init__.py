"""The presets that come with facex: TOML files of settings, read by `facexcli.config`."""
