#include "engine/frames/codec.h"

#include <lz4.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/frames/bitshuffle.h"

namespace ptychoserve {
namespace {

// Layout of HDF5 filter 32008 and of Dectris detectors: decoded size (8 bytes) and block size in
// bytes (4), then for each block its encoded size (4) and LZ4 data; all numbers big-endian. The
// last block is cut to a multiple of 8 elements, and what then remains is stored as it is.
constexpr std::size_t kStreamHeaderBytes = 12;
constexpr std::size_t kDecodedSizeBytes = 8;
constexpr std::size_t kBlockHeaderBytes = 4;
constexpr std::int64_t kBlockMultiple = 8;  // Elements.
// bshuf_default_block_size: 8 KiB, but at least this many elements.
constexpr std::int64_t kDefaultBlockBytes = 8192;
constexpr std::int64_t kMinDefaultBlock = 128;

std::int64_t DefaultBlockElements(int element_bytes) {
  const std::int64_t elements = kDefaultBlockBytes / element_bytes;
  return std::max(elements / kBlockMultiple * kBlockMultiple, kMinDefaultBlock);
}

std::uint64_t ReadBigEndian(const std::byte* p, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    value = value << 8 | std::to_integer<std::uint64_t>(p[i]);
  }
  return value;
}

void AppendBigEndian(std::uint64_t value, std::size_t bytes, std::vector<std::byte>* out) {
  for (std::size_t i = bytes; i-- > 0;) out->push_back(static_cast<std::byte>(value >> (8 * i)));
}

absl::Status Corrupt(const std::string& what) { return absl::InvalidArgumentError(what); }

// One LZ4 block that must fill `out`.
absl::Status DecodeLz4(std::span<const std::byte> encoded, std::span<std::byte> out) {
  constexpr std::size_t kMaxInt = std::numeric_limits<int>::max();
  if (encoded.size() > kMaxInt || out.size() > kMaxInt) {
    return Corrupt(absl::StrFormat("an LZ4 block of %d bytes for %d is too large", encoded.size(),
                                   out.size()));
  }
  const int decoded = LZ4_decompress_safe(
      reinterpret_cast<const char*>(encoded.data()), reinterpret_cast<char*>(out.data()),
      static_cast<int>(encoded.size()), static_cast<int>(out.size()));
  if (decoded < 0) {
    return Corrupt(absl::StrFormat("%d bytes are not an LZ4 block of at most %d bytes",
                                   encoded.size(), out.size()));
  }
  if (static_cast<std::size_t>(decoded) != out.size()) {
    return Corrupt(
        absl::StrFormat("an LZ4 block decodes to %d bytes instead of %d", decoded, out.size()));
  }
  return absl::OkStatus();
}

void AppendLz4(std::span<const std::byte> data, std::vector<std::byte>* out) {
  const std::size_t before = out->size();
  const int bound = LZ4_compressBound(static_cast<int>(data.size()));
  out->resize(before + static_cast<std::size_t>(bound));
  const int encoded = LZ4_compress_default(reinterpret_cast<const char*>(data.data()),
                                           reinterpret_cast<char*>(out->data() + before),
                                           static_cast<int>(data.size()), bound);
  out->resize(before + static_cast<std::size_t>(encoded));
}

absl::Status DecodeBslz4(std::span<const std::byte> encoded, int element_bytes,
                         std::span<std::byte> out) {
  if (encoded.size() < kStreamHeaderBytes) {
    return Corrupt(absl::StrFormat("%d bytes are less than the bitshuffle header of %d",
                                   encoded.size(), kStreamHeaderBytes));
  }
  const std::uint64_t decoded_size = ReadBigEndian(encoded.data(), kDecodedSizeBytes);
  if (decoded_size != out.size()) {
    return Corrupt(absl::StrFormat("the bitshuffle header announces %d bytes; the frame has %d",
                                   decoded_size, out.size()));
  }
  const auto block_bytes = static_cast<std::int64_t>(
      ReadBigEndian(encoded.data() + kDecodedSizeBytes, kStreamHeaderBytes - kDecodedSizeBytes));
  const std::int64_t multiple = kBlockMultiple * element_bytes;
  if (block_bytes % multiple != 0) {
    return Corrupt(absl::StrFormat("the bitshuffle block size %d is not a multiple of %d bytes",
                                   block_bytes, multiple));
  }
  const std::int64_t block =
      block_bytes == 0 ? DefaultBlockElements(element_bytes) * element_bytes : block_bytes;

  encoded = encoded.subspan(kStreamHeaderBytes);
  const auto size = static_cast<std::int64_t>(out.size());
  const std::int64_t shuffled_size = size / multiple * multiple;
  std::vector<std::byte> shuffled(static_cast<std::size_t>(std::min(block, shuffled_size)));
  for (std::int64_t begin = 0; begin < shuffled_size; begin += block) {
    const std::int64_t bytes = std::min(block, shuffled_size - begin);
    if (encoded.size() < kBlockHeaderBytes) {
      return Corrupt(
          absl::StrFormat("the data end before the block at byte %d of %d", begin, size));
    }
    const std::uint64_t encoded_bytes = ReadBigEndian(encoded.data(), kBlockHeaderBytes);
    encoded = encoded.subspan(kBlockHeaderBytes);
    if (encoded_bytes > encoded.size()) {
      return Corrupt(absl::StrFormat("the block at byte %d announces %d bytes; %d are left", begin,
                                     encoded_bytes, encoded.size()));
    }
    const std::span<std::byte> target(shuffled.data(), static_cast<std::size_t>(bytes));
    if (absl::Status status = DecodeLz4(encoded.first(encoded_bytes), target); !status.ok()) {
      return Corrupt(absl::StrCat("the block at byte ", begin, ": ", status.message()));
    }
    encoded = encoded.subspan(encoded_bytes);
    BitUnshuffle(shuffled.data(), out.data() + begin, bytes / element_bytes, element_bytes);
  }
  const auto rest = static_cast<std::size_t>(size - shuffled_size);
  if (encoded.size() != rest) {
    return Corrupt(
        absl::StrFormat("%d bytes follow the last block; must be %d", encoded.size(), rest));
  }
  std::copy(encoded.begin(), encoded.end(), out.begin() + shuffled_size);
  return absl::OkStatus();
}

std::vector<std::byte> EncodeBslz4(std::span<const std::byte> frame, int element_bytes) {
  const std::int64_t block = DefaultBlockElements(element_bytes) * element_bytes;
  const auto size = static_cast<std::int64_t>(frame.size());
  const std::int64_t multiple = kBlockMultiple * element_bytes;
  const std::int64_t shuffled_size = size / multiple * multiple;

  std::vector<std::byte> out;
  AppendBigEndian(frame.size(), kDecodedSizeBytes, &out);
  AppendBigEndian(static_cast<std::uint64_t>(block), kStreamHeaderBytes - kDecodedSizeBytes, &out);
  std::vector<std::byte> shuffled(static_cast<std::size_t>(std::min(block, shuffled_size)));
  std::vector<std::byte> encoded;
  for (std::int64_t begin = 0; begin < shuffled_size; begin += block) {
    const std::int64_t bytes = std::min(block, shuffled_size - begin);
    BitShuffle(frame.data() + begin, shuffled.data(), bytes / element_bytes, element_bytes);
    encoded.clear();
    AppendLz4({shuffled.data(), static_cast<std::size_t>(bytes)}, &encoded);
    AppendBigEndian(encoded.size(), kBlockHeaderBytes, &out);
    out.insert(out.end(), encoded.begin(), encoded.end());
  }
  out.insert(out.end(), frame.begin() + shuffled_size, frame.end());
  return out;
}

}  // namespace

absl::Status DecodeFrame(Encoding encoding, std::span<const std::byte> encoded, int element_bytes,
                         std::span<std::byte> out) {
  if (element_bytes != 1 && element_bytes != 2 && element_bytes != 4) {
    return Corrupt(absl::StrFormat("elements of %d bytes; must be 1, 2 or 4", element_bytes));
  }
  if (out.size() % static_cast<std::size_t>(element_bytes) != 0) {
    return Corrupt(absl::StrFormat("a frame of %d bytes does not hold whole elements of %d",
                                   out.size(), element_bytes));
  }
  switch (encoding) {
    case Encoding::kRaw:
      if (encoded.size() != out.size()) {
        return Corrupt(
            absl::StrFormat("a raw frame of %d bytes; must have %d", encoded.size(), out.size()));
      }
      std::copy(encoded.begin(), encoded.end(), out.begin());
      return absl::OkStatus();
    case Encoding::kLz4:
      return DecodeLz4(encoded, out);
    case Encoding::kBslz4:
      return DecodeBslz4(encoded, element_bytes, out);
  }
  return Corrupt(absl::StrFormat("unknown encoding %d", static_cast<int>(encoding)));
}

std::vector<std::byte> EncodeFrame(Encoding encoding, std::span<const std::byte> frame,
                                   int element_bytes) {
  std::vector<std::byte> out;
  switch (encoding) {
    case Encoding::kRaw:
      out.assign(frame.begin(), frame.end());
      break;
    case Encoding::kLz4:
      AppendLz4(frame, &out);
      break;
    case Encoding::kBslz4:
      out = EncodeBslz4(frame, element_bytes);
      break;
  }
  return out;
}

}  // namespace ptychoserve
