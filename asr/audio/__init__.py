"""Audio in and out: files, resampling, augmentation of waveforms."""
