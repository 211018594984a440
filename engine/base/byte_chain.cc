#include "engine/base/byte_chain.h"

#include <algorithm>
#include <cstring>

namespace ptychoserve {

std::size_t ByteChain::PieceOf(std::size_t offset) const {
  const auto after = std::upper_bound(pieces_.begin(), pieces_.end(), offset,
                                      [](std::size_t o, const Piece& p) { return o < p.begin; });
  return static_cast<std::size_t>(after - pieces_.begin()) - 1;
}

ByteChain ByteChain::Part(std::size_t offset, std::size_t count) const {
  ByteChain part;
  if (count == 0) return part;
  for (std::size_t piece = PieceOf(offset); count > 0; ++piece) {
    const std::size_t here = std::min(count, EndOf(piece) - offset);
    part.Append({pieces_[piece].data + (offset - pieces_[piece].begin), here});
    offset += here;
    count -= here;
  }
  return part;
}

void ByteChain::CopyTo(std::size_t offset, std::span<std::byte> out) const {
  if (out.empty()) return;
  for (std::size_t piece = PieceOf(offset); !out.empty(); ++piece) {
    const std::size_t here = std::min(out.size(), EndOf(piece) - offset);
    std::memcpy(out.data(), pieces_[piece].data + (offset - pieces_[piece].begin), here);
    out = out.subspan(here);
    offset += here;
  }
}

const std::byte* ChainReader::ReadElsewhere(std::size_t offset, std::size_t count) {
  if (count == 0) return nullptr;
  const std::size_t piece = chain_.PieceOf(offset);
  if (offset + count <= chain_.EndOf(piece)) {
    begin_ = chain_.pieces_[piece].begin;
    end_ = chain_.EndOf(piece);
    data_ = chain_.pieces_[piece].data;
    return data_ + (offset - begin_);
  }
  copy_.resize(count);
  chain_.CopyTo(offset, copy_);
  return copy_.data();
}

}  // namespace ptychoserve
