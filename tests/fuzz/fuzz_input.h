#ifndef PTYCHOSERVE_TESTS_FUZZ_FUZZ_INPUT_H_
#define PTYCHOSERVE_TESTS_FUZZ_FUZZ_INPUT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

// What the fuzzer, or run_corpus, calls for each input.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

// Ends the program, which is a finding, unless the condition holds.
#define FUZZ_CHECK(condition)                                                      \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                \
    }                                                                              \
  } while (false)

namespace ptychoserve {

// The bytes of an input, as decisions: taken one after the other, and 0 when there are no more.
class FuzzInput {
 public:
  FuzzInput(const std::uint8_t* data, std::size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const { return rest_.empty(); }
  std::uint8_t Byte() { return Plain<std::uint8_t>(); }
  bool Flag() { return Byte() % 2 != 0; }
  // 0..n-1.
  int Below(int n) { return Byte() % n; }
  // A number, as it lies in memory.
  template <class T>
  T Plain() {
    T value{};
    const std::string bytes = Bytes(sizeof value);
    std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  // At most so many bytes.
  std::string Bytes(std::size_t most) {
    const std::string bytes(rest_.substr(0, most));
    rest_.remove_prefix(bytes.size());
    return bytes;
  }
  std::string Rest() { return Bytes(rest_.size()); }

 private:
  std::string_view rest_;
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_TESTS_FUZZ_FUZZ_INPUT_H_
