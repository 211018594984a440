// Reader of NumPy's files, on anything: memory follows the file, and what is read comes back when
// it is written.
#include "engine/io/npy.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include "tests/fuzz/file_bytes.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/temporary_directory.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ptychoserve;
  static const TemporaryDirectory directory;
  static const std::string path = directory.path() + "/a.npy";
  WriteBytes(path, FuzzInput(data, size).Rest());

  const auto array = ReadNpy(path);
  if (array.ok()) {
    FUZZ_CHECK(array->data.size() <= size);
    const auto complex = array->ToComplexDouble();
    FUZZ_CHECK(complex.ok());
    if (const auto real = array->ToDouble(); real.ok()) FUZZ_CHECK(real->size() == complex->size());
    if (WriteNpy(path, *array).ok()) {
      const auto again = ReadNpy(path);
      FUZZ_CHECK(again.ok() && again->descr == array->descr && again->shape == array->shape &&
                 again->data == array->data);
    }
  }
  if (const auto probe = ReadProbeNpy(path); probe.ok()) {
    FUZZ_CHECK(probe->modes >= 1);
    FUZZ_CHECK(static_cast<std::int64_t>(probe->data.size()) ==
               probe->modes * probe->shape.pixels());
    for (const Complex64& v : probe->data) {
      FUZZ_CHECK(std::isfinite(v.real()) && std::isfinite(v.imag()));
    }
  }
  return 0;
}
