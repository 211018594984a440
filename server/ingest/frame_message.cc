#include "server/ingest/frame_message.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ptychoserve::server {
namespace {

// The rules of merging, of oneof, of repeated and of unknown fields are the generated parser's, and
// it applies them itself: to a copy of the message in which each payload is replaced by its number.
// The number that is left in the end tells which payload counts. Whatever is not plain (groups, and
// lengths or tags that are cut off or out of range) is left to the generated parser as it is.

constexpr int kWireVarint = 0;
constexpr int kWireFixed64 = 1;
constexpr int kWireBytes = 2;
constexpr int kWireFixed32 = 5;
constexpr int kWireTypeBits = 3;
constexpr std::uint64_t kMaxLength = std::numeric_limits<std::int32_t>::max() / 2;
constexpr int kMaxValueBytes = 10;
constexpr int kMaxTagBytes = 5;  // Of lengths, too.

constexpr std::uint32_t TagOf(int field, int wire_type) {
  return static_cast<std::uint32_t>(field << kWireTypeBits | wire_type);
}
constexpr std::uint32_t kBatchTag = TagOf(v1::StreamFramesRequest::kBatchFieldNumber, kWireBytes);
constexpr std::uint32_t kDataTag = TagOf(v1::FrameBatch::kDataFieldNumber, kWireBytes);

struct Range {
  std::size_t begin = 0, end = 0;
  std::size_t size() const { return end - begin; }
};

void AppendVarint(std::uint64_t value, std::string* out) {
  constexpr std::uint64_t kMore = 0x80;
  for (; value >= kMore; value >>= 7) out->push_back(static_cast<char>(value | kMore));
  out->push_back(static_cast<char>(value));
}

class Cutter {
 public:
  explicit Cutter(const ByteChain& bytes) : bytes_(bytes), reader_(bytes) {}

  // The message without its payloads; nullopt when it is not plain.
  std::optional<std::string> Cut() {
    std::string out;
    Range rest{0, bytes_.size()};
    while (rest.size() > 0) {
      const std::size_t begin = rest.begin;
      const std::optional<Field> field = TakeField(&rest);
      if (!field) return std::nullopt;
      if (field->tag != kBatchTag) {
        Append({begin, rest.begin}, &out);
        continue;
      }
      std::optional<std::string> batch = CutBatch(field->value);
      if (!batch) return std::nullopt;
      AppendVarint(kBatchTag, &out);
      AppendVarint(batch->size(), &out);
      out += *batch;
    }
    return out;
  }

  // The payload with the number that `data` holds; `data` may be empty for none.
  ByteChain Payload(const std::string& data) const {
    std::uint32_t number = 0;
    if (data.size() != sizeof number) return {};
    std::memcpy(&number, data.data(), sizeof number);
    return bytes_.Part(payloads_[number].begin, payloads_[number].size());
  }

 private:
  struct Field {
    std::uint32_t tag = 0;
    Range value;  // Without the length of kWireBytes.
  };

  std::optional<std::string> CutBatch(Range rest) {
    std::string out;
    while (rest.size() > 0) {
      const std::size_t begin = rest.begin;
      const std::optional<Field> field = TakeField(&rest);
      if (!field) return std::nullopt;
      if (field->tag != kDataTag) {
        Append({begin, rest.begin}, &out);
        continue;
      }
      const auto number = static_cast<std::uint32_t>(payloads_.size());
      payloads_.push_back(field->value);
      AppendVarint(kDataTag, &out);
      AppendVarint(sizeof number, &out);
      out.append(reinterpret_cast<const char*>(&number), sizeof number);
    }
    return out;
  }

  std::optional<Field> TakeField(Range* rest) {
    const auto tag = TakeVarint(rest, kMaxTagBytes);
    if (!tag || *tag > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
    Field field{static_cast<std::uint32_t>(*tag), *rest};
    std::uint64_t length = 0;
    switch (*tag & ((1 << kWireTypeBits) - 1)) {
      case kWireVarint:
        if (!TakeVarint(rest, kMaxValueBytes)) return std::nullopt;
        return field;
      case kWireFixed64:
        length = sizeof(std::uint64_t);
        break;
      case kWireFixed32:
        length = sizeof(std::uint32_t);
        break;
      case kWireBytes: {
        const auto announced = TakeVarint(rest, kMaxTagBytes);
        if (!announced || *announced > kMaxLength) return std::nullopt;
        length = *announced;
        break;
      }
      default:
        return std::nullopt;
    }
    if (length > rest->size()) return std::nullopt;
    field.value = {rest->begin, rest->begin + static_cast<std::size_t>(length)};
    rest->begin = field.value.end;
    return field;
  }

  std::optional<std::uint64_t> TakeVarint(Range* rest, int max_bytes) {
    std::uint64_t value = 0;
    for (int i = 0; i < max_bytes && rest->size() > 0; ++i) {
      const auto byte = std::to_integer<std::uint64_t>(*reader_.Read(rest->begin++, 1));
      value |= (byte & 0x7f) << (7 * i);
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  }

  void Append(Range range, std::string* out) const {
    const std::size_t before = out->size();
    out->resize(before + range.size());
    bytes_.CopyTo(range.begin, std::as_writable_bytes(std::span(*out).subspan(before)));
  }

  const ByteChain& bytes_;
  ChainReader reader_;
  std::vector<Range> payloads_;
};

}  // namespace

bool ParseFrameMessage(const ByteChain& bytes, FrameMessage* message) {
  Cutter cutter(bytes);
  if (const std::optional<std::string> plain = cutter.Cut()) {
    if (!message->request.ParseFromString(*plain)) return false;
    message->payload = cutter.Payload(message->request.batch().data());
    return true;
  }
  std::string whole(bytes.size(), '\0');
  bytes.CopyTo(0, std::as_writable_bytes(std::span(whole)));
  if (!message->request.ParseFromString(whole)) return false;
  const std::string& data = message->request.batch().data();
  message->payload = std::as_bytes(std::span(data));
  return true;
}

}  // namespace ptychoserve::server
