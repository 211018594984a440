// Decoders of frames, on anything: what they take is one frame, exactly, and what was encoded comes
// back as it was.
#include "engine/frames/codec.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz_input.h"

namespace ptychoserve {
namespace {

constexpr std::array kEncodings = {Encoding::kRaw, Encoding::kLz4, Encoding::kBslz4};
constexpr int kElementBytes[] = {1, 2, 4};
constexpr std::size_t kMaxFrameBytes = 1 << 15;  // Four blocks of bitshuffle.

void CheckRoundTrip(Encoding encoding, std::span<const std::byte> frame, int element_bytes) {
  const std::vector<std::byte> encoded = EncodeFrame(encoding, frame, element_bytes);
  std::vector<std::byte> back(frame.size());
  FUZZ_CHECK(DecodeFrame(encoding, encoded, element_bytes, back).ok());
  FUZZ_CHECK(std::ranges::equal(back, frame));
}

}  // namespace
}  // namespace ptychoserve

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ptychoserve;
  FuzzInput input(data, size);
  const Encoding encoding = kEncodings[static_cast<std::size_t>(input.Below(3))];
  const int element_bytes = kElementBytes[input.Below(3)];
  std::vector<std::byte> frame(input.Plain<std::uint16_t>() % (kMaxFrameBytes + 1));
  // In memory of its own, so that reading beyond it shows.
  const std::string rest = input.Rest();
  std::vector<std::byte> bytes(rest.size());
  std::ranges::copy(std::as_bytes(std::span(rest)), bytes.begin());
  if (DecodeFrame(encoding, bytes, element_bytes, frame).ok()) {
    CheckRoundTrip(encoding, frame, element_bytes);
  }
  bytes.resize(bytes.size() / static_cast<std::size_t>(element_bytes) *
               static_cast<std::size_t>(element_bytes));
  CheckRoundTrip(encoding, bytes, element_bytes);
  return 0;
}
