"""What every test shares."""

from hypothesis import settings

# Wall-clock deadlines judge the machine, not the code. Derandomized: a failure seen once is seen again.
settings.register_profile("sizewise", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("sizewise")
