"""The demonstration: the platform, three devices and one training job, driven the way people drive them."""
