"""Below everything else: processes, files, the machine, the screen."""
