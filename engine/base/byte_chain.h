#ifndef PTYCHOSERVE_ENGINE_BASE_BYTE_CHAIN_H_
#define PTYCHOSERVE_ENGINE_BASE_BYTE_CHAIN_H_

#include <concepts>
#include <cstddef>
#include <span>
#include <vector>

namespace ptychoserve {

// A view of bytes that lie in memory in pieces, as the network has delivered them. The memory is
// the caller's. Offsets and counts must lie inside, as with std::span.
class ByteChain {
 public:
  ByteChain() = default;
  // One piece. Implicit: whoever takes a chain takes plain memory, too.
  template <typename Bytes>
  requires std::convertible_to<Bytes, std::span<const std::byte>> ByteChain(
      const Bytes& bytes) {  // NOLINT
    Append(bytes);
  }

  void Append(std::span<const std::byte> piece) {
    if (piece.empty()) return;
    pieces_.push_back({size_, piece.data()});
    size_ += piece.size();
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // The chain of `count` bytes from `offset` on.
  ByteChain Part(std::size_t offset, std::size_t count) const;
  void CopyTo(std::size_t offset, std::span<std::byte> out) const;

 private:
  friend class ChainReader;
  struct Piece {
    std::size_t begin = 0;  // Offset of its first byte in the chain.
    const std::byte* data = nullptr;
  };
  std::size_t PieceOf(std::size_t offset) const;
  std::size_t EndOf(std::size_t piece) const {
    return piece + 1 < pieces_.size() ? pieces_[piece + 1].begin : size_;
  }

  std::vector<Piece> pieces_;  // Not empty, in order.
  std::size_t size_ = 0;
};

// Reads runs of bytes of a chain in place, wherever they do not cross the border of two pieces.
// Fast when most runs are in the same piece as the one before. The chain outlives the reader.
class ChainReader {
 public:
  explicit ChainReader(const ByteChain& chain) : chain_(chain) {}
  // The `count` bytes from `offset` on; valid until the next call.
  const std::byte* Read(std::size_t offset, std::size_t count) {
    if (offset >= begin_ && offset + count <= end_) return data_ + (offset - begin_);
    return ReadElsewhere(offset, count);
  }

 private:
  const std::byte* ReadElsewhere(std::size_t offset, std::size_t count);

  const ByteChain& chain_;
  std::size_t begin_ = 0, end_ = 0;  // Of the present piece.
  const std::byte* data_ = nullptr;
  std::vector<std::byte> copy_;  // Of a run that crosses a border.
};

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_BASE_BYTE_CHAIN_H_
