// The parser of frames that leaves the pixels where they are, beside the generated one: whatever
// the bytes, and wherever the network has cut them, both say the same.
#include "server/ingest/frame_message.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/quiet_protobuf.h"

namespace ptychoserve::server {
namespace {

// The bytes in pieces, each in memory of its own, so that reading beyond it shows.
class Pieces {
 public:
  // Takes the lengths of the pieces, which repeat, and the bytes.
  explicit Pieces(FuzzInput* input) {
    std::vector<std::size_t> lengths(1 + static_cast<std::size_t>(input->Below(4)));
    for (std::size_t& length : lengths) length = 1 + std::size_t{input->Byte()};
    for (std::size_t i = 0; !input->empty(); ++i) {
      const std::string piece = input->Bytes(lengths[i % lengths.size()]);
      whole_ += piece;
      auto memory = std::make_unique<std::byte[]>(piece.size());
      std::ranges::copy(std::as_bytes(std::span(piece)), memory.get());
      chain_.Append({memory.get(), piece.size()});
      memory_.push_back(std::move(memory));
    }
  }
  const ByteChain& chain() const { return chain_; }
  const std::string& whole() const { return whole_; }

 private:
  std::vector<std::unique_ptr<std::byte[]>> memory_;
  ByteChain chain_;
  std::string whole_;
};

}  // namespace
}  // namespace ptychoserve::server

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ptychoserve;
  using namespace ptychoserve::server;
  QuietProtobuf();
  FuzzInput input(data, size);
  const Pieces pieces(&input);
  v1::StreamFramesRequest expected;
  const bool valid = expected.ParseFromString(pieces.whole());
  FrameMessage message;
  FUZZ_CHECK(ParseFrameMessage(pieces.chain(), &message) == valid);
  if (!valid) return 0;
  std::string payload(message.payload.size(), '\0');
  message.payload.CopyTo(0, std::as_writable_bytes(std::span(payload)));
  FUZZ_CHECK(payload == expected.batch().data());
  if (message.request.has_batch()) message.request.mutable_batch()->clear_data();
  if (expected.has_batch()) expected.mutable_batch()->clear_data();
  FUZZ_CHECK(google::protobuf::util::MessageDifferencer::Equals(expected, message.request));
  return 0;
}
