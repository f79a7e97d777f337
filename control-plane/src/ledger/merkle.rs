//! The Merkle tree of RFC 9162 §2.1 over SHA-256: what can be said of many leaves by one hash, and shown of one leaf
//! by a few.
//!
//! A leaf's hash is SHA-256 of a zero byte and the leaf; a node's is SHA-256 of a one byte and its two children. A
//! tree of n leaves has as many on its left side as the largest power of two below n. The root of no leaves is
//! SHA-256 of nothing.

use sha2::{Digest, Sha256};

/// SHA-256.
pub type Hash = [u8; 32];

/// The hash of a leaf.
pub fn leaf(bytes: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root over these leaves' hashes, in their order.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(left_size(leaves.len()));
            node(&root(left), &root(right))
        }
    }
}

/// What leads from the leaf at `index` to the root: the hash beside each node on the way, the lowest first. None
/// where there is no such leaf.
pub fn path(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let (mut leaves, mut index) = (leaves, index);
    let mut path = Vec::new();
    while leaves.len() > 1 {
        let middle = left_size(leaves.len());
        let (left, right) = leaves.split_at(middle);
        if index < middle {
            path.push(root(right));
            leaves = left;
        } else {
            path.push(root(left));
            (leaves, index) = (right, index - middle);
        }
    }
    path.reverse();
    Some(path)
}

/// The root that this leaf's hash and path lead to, in a tree of `size` leaves (§2.1.3.2). None where no leaf of such
/// a tree has a path of this length.
pub fn root_of(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = leaf;
    for beside in path {
        if last == 0 {
            return None;
        }
        if at % 2 == 1 || at == last {
            hash = node(beside, &hash);
            // On the right edge, levels without a left side have no node of their own.
            while at % 2 == 0 && at != 0 {
                (at, last) = (at / 2, last / 2);
            }
        } else {
            hash = node(&hash, beside);
        }
        (at, last) = (at / 2, last / 2);
    }
    (last == 0).then_some(hash)
}

/// The largest power of two below `size`, which is at least 2.
fn left_size(size: usize) -> usize {
    1 << (size - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaves(size: usize) -> Vec<Hash> {
        (0..size).map(|number| leaf(&number.to_be_bytes())).collect()
    }

    fn whole(number: usize) -> u64 {
        u64::try_from(number).unwrap()
    }

    #[test]
    fn the_roots_of_certificate_transparencys_own_tests_are_ours() {
        let inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
            .into_iter()
            .chain(["606162636465666768696a6b6c6d6e6f"]);
        let leaves: Vec<Hash> = inputs.map(|input| leaf(&hex::decode(input).unwrap())).collect();
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        for (size, expected) in roots.into_iter().enumerate() {
            assert_eq!(hex::encode(root(&leaves[..size])), expected, "{size} leaves");
        }
    }

    #[test]
    fn every_leaf_of_every_size_has_a_path_and_no_other_index_leaf_path_or_size_fits_it() {
        for size in 0..=70 {
            let leaves = leaves(size);
            let root = root(&leaves);
            assert_eq!(path(&leaves, size), None);
            for index in 0..size {
                let path = path(&leaves, index).unwrap();
                let found = |leaf, index: usize, size: usize, path: &[Hash]| {
                    root_of(leaf, whole(index), whole(size), path)
                };
                assert_eq!(found(leaves[index], index, size, &path), Some(root), "{index}/{size}");

                assert_ne!(found(leaf(b"another"), index, size, &path), Some(root));
                for other in 0..size + 2 {
                    if other != index {
                        assert_ne!(found(leaves[index], other, size, &path), Some(root));
                    }
                }
                for changed in 0..path.len() {
                    let mut path = path.clone();
                    path[changed][changed % 32] ^= 1;
                    assert_ne!(found(leaves[index], index, size, &path), Some(root));
                    path.remove(changed);
                    assert_ne!(found(leaves[index], index, size, &path), Some(root));
                }
                let longer = [path.clone(), vec![[0; 32]]].concat();
                assert_ne!(found(leaves[index], index, size, &longer), Some(root));
                // Trees that differ further right may have the same way to a leaf; their roots differ.
                for smaller in 0..=index {
                    assert_eq!(found(leaves[index], index, smaller, &path), None);
                }
                let taller = (size + 1).next_power_of_two() + 1;
                assert_ne!(found(leaves[index], index, taller, &path), Some(root));
            }
        }
    }

    #[test]
    fn a_tree_of_another_size_has_another_root() {
        let roots: std::collections::BTreeSet<Hash> =
            (0..=70).map(|size| root(&leaves(size))).collect();
        assert_eq!(roots.len(), 71);
    }

    #[test]
    fn a_node_is_never_taken_for_a_leaf() {
        let leaves = leaves(2);
        let inner = [leaves[0], leaves[1]].concat();
        assert_ne!(leaf(&inner), root(&leaves));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_leaf_of_any_tree_is_shown_by_its_path(
            size in 1_usize..600, at in any::<prop::sample::Index>(), bit in 0_usize..256,
        ) {
            let leaves = leaves(size);
            let index = at.index(size);
            let path = path(&leaves, index).unwrap();
            let (root, mut other) = (root(&leaves), leaves[index]);
            prop_assert!(path.len() <= 10);
            prop_assert_eq!(root_of(other, whole(index), whole(size), &path), Some(root));
            other[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(root_of(other, whole(index), whole(size), &path), Some(root));
        }

        #[test]
        fn whatever_path_is_given_nothing_breaks(
            index in any::<u64>(), size in any::<u64>(), path in prop::collection::vec(any::<Hash>(), 0..70),
        ) {
            let found = root_of([0; 32], index, size, &path);
            prop_assert!(found.is_none() || index < size);
        }
    }
}
