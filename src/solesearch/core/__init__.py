"""What every room stands on: settings, paths, files, errors, progress, the machine."""
