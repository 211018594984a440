// codec_tool encode|decode ELEMENT_BYTES DECODED_BYTES: filters one bitshuffle-LZ4 frame from
// standard input to standard output, for comparison with other implementations.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "engine/frames/codec.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s encode|decode ELEMENT_BYTES DECODED_BYTES\n", argv[0]);
    return 2;
  }
  const std::string input(std::istreambuf_iterator<char>(std::cin), {});
  std::vector<std::byte> bytes(input.size());
  std::memcpy(bytes.data(), input.data(), input.size());
  const int element_bytes = std::atoi(argv[2]);
  std::vector<std::byte> out;
  if (std::strcmp(argv[1], "encode") == 0) {
    out = ptychoserve::EncodeFrame(ptychoserve::Encoding::kBslz4, bytes, element_bytes);
  } else {
    out.resize(std::strtoul(argv[3], nullptr, 10));
    const absl::Status status =
        ptychoserve::DecodeFrame(ptychoserve::Encoding::kBslz4, bytes, element_bytes, out);
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
      return 1;
    }
  }
  return std::fwrite(out.data(), 1, out.size(), stdout) == out.size() ? 0 : 1;
}
