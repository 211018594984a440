#ifndef PTYCHOSERVE_TESTS_FUZZ_FILE_BYTES_H_
#define PTYCHOSERVE_TESTS_FUZZ_FILE_BYTES_H_

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/fuzz/fuzz_input.h"

namespace ptychoserve {

inline std::string ReadBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void WriteBytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// Damages the bytes as the input says. Returns how many at their begin are as they were.
inline std::size_t Damage(FuzzInput* input, std::string* bytes) {
  std::size_t good = bytes->size();
  for (int times = input->Below(4); times > 0 && !bytes->empty(); --times) {
    const int what = input->Below(4);
    const std::size_t at = input->Plain<std::uint16_t>() % bytes->size();
    good = std::min(good, at);
    if (what == 0) bytes->resize(at);
    if (what == 1) (*bytes)[at] = static_cast<char>((*bytes)[at] ^ (1 << input->Below(8)));
    if (what == 2) bytes->insert(at, input->Byte(), static_cast<char>(input->Byte()));
    if (what == 3) bytes->erase(at, input->Byte());
  }
  return good;
}

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_FUZZ_FILE_BYTES_H_
