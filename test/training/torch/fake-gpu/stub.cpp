// Lets a torch built for CUDA believe in devices that do not exist. Preloaded, so that these definitions win.
extern "C" {
int fake_device_count = 0;
}
namespace c10::cuda {
signed char device_count() noexcept { return fake_device_count; }
bool hasPrimaryContext(signed char) { return false; }
}
